"""Reads profile files as botocore does. On standard input: {"pairs": [[CONFIG, CREDENTIALS], ...], "kinds": BOOL}.

Answers a list: for each pair the profiles, sessions and services that botocore finds, if asked for with the kind of
credentials of each profile, or null if botocore refuses the files.
"""

import json
import os
import sys
import tempfile

import botocore.exceptions
import botocore.session
from botocore.credentials import Credentials, LoginProvider


def kind(name):
    """Which of botocore's providers has the profile's credentials, and the id of keys that stand in a file."""
    session = botocore.session.Session(profile=name)
    try:
        credentials = session.get_credentials()
    except Exception:
        return ["invalid", None]
    if credentials is None:
        return [None, None]
    in_file = credentials.method in ("shared-credentials-file", "config-file")
    return [credentials.method, credentials.access_key if in_file else None]


def load_login(self):
    """Stands for the provider of `aws login`, which needs a library beside botocore and a cached login."""
    profile = self._load_config()["profiles"].get(self._profile_name, {})
    return Credentials("a", "s", method="login") if "login_session" in profile else None


def read(config, credentials, kinds):
    for variable, text in (("AWS_CONFIG_FILE", config), ("AWS_SHARED_CREDENTIALS_FILE", credentials)):
        with open(os.environ[variable], "w", encoding="utf-8", newline="") as file:
            file.write(text)
    try:
        full = botocore.session.Session().full_config
    except botocore.exceptions.ConfigParseError:
        return None
    return {
        "profiles": full["profiles"],
        "sessions": full["sso_sessions"],
        "services": full["services"],
        "kinds": {name: kind(name) for name in full["profiles"] if kinds},
    }


with tempfile.TemporaryDirectory() as home:
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        del os.environ[name]
    os.environ.update(
        HOME=home,
        AWS_CONFIG_FILE=os.path.join(home, "config"),
        AWS_SHARED_CREDENTIALS_FILE=os.path.join(home, "credentials"),
        AWS_EC2_METADATA_DISABLED="true",
        # For `credential_source = Environment`. A profile that is asked for by name goes before them.
        AWS_ACCESS_KEY_ID="AKIAENVIRONMENT",
        AWS_SECRET_ACCESS_KEY="secret",
    )
    LoginProvider.load = load_login
    order = json.load(sys.stdin)
    json.dump([read(*pair, order["kinds"]) for pair in order["pairs"]], sys.stdout)
