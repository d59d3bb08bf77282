"""Uses the token cache as botocore does. On standard input: {"cache": DIRECTORY, "config": FILE}.

Reads the token of the session "corp" and the one of the start URL of legacy profiles; writes tokens of its own for both
into a directory beside the other. Answers what it read.
"""

import datetime
import json
import os
import sys

import botocore.session
from botocore.tokens import SSOTokenProvider, _sso_json_dumps
from botocore.utils import JSONFileCache, SSOTokenLoader

order = json.load(sys.stdin)
url = order["start_url"]
os.environ["AWS_CONFIG_FILE"] = order["config"]
cache = JSONFileCache(order["cache"])
load = SSOTokenLoader(cache=cache)

session = botocore.session.Session(profile="p")
provided = SSOTokenProvider(session, cache=cache).load_token().get_frozen_token()

later = datetime.datetime(2030, 1, 2, 3, 4, 5, tzinfo=datetime.timezone.utc)
theirs = SSOTokenLoader(cache=JSONFileCache(order["theirs"], dumps_func=_sso_json_dumps))
for name in ("corp", None):
    token = {"startUrl": url, "region": "us-east-1", "accessToken": f"of {name}", "expiresAt": later}
    theirs.save_token(url, token, session_name=name)

json.dump(
    {
        "provided": provided.token,
        "expires": provided.expiration.isoformat(),
        "session": load(url, session_name="corp"),
        "legacy": load(url),
    },
    sys.stdout,
)
