#!/usr/bin/env python3
"""A process that lives on with botocore: at each line of its input it wants a token, as a new client of such a process does.

usage: AWS_PROFILE=NAME live_botocore.py

Says `{"ready": VERSION}`, then answers each line with one JSON object: how often it renewed the token (`granted`), how often that
was refused (`refused`), and whether the portal takes the token that it has in the end (`accepted`).
"""

import json
import logging
import sys

import botocore
from botocore.exceptions import ClientError
from botocore.session import Session
from botocore.tokens import SSOTokenProvider


class Outcomes(logging.Handler):
    """What botocore itself says of its renewals."""

    SAID = {"SSO Token refresh succeeded": "granted", "SSO token refresh attempt failed": "refused"}

    def __init__(self):
        super().__init__()
        self.counts = {}

    def emit(self, record):
        if outcome := self.SAID.get(record.getMessage()):
            self.counts[outcome] = self.counts.get(outcome, 0) + 1

    def take(self):
        counts, self.counts = self.counts, {}
        return {outcome: counts.get(outcome, 0) for outcome in self.SAID.values()}


def accepted(portal, token):
    try:
        portal.list_accounts(accessToken=token)
        return True
    except ClientError as error:
        print(error, file=sys.stderr)
        return False


def main():
    outcomes = Outcomes()
    log = logging.getLogger("botocore.tokens")
    log.setLevel(logging.INFO)
    log.addHandler(outcomes)
    log.propagate = False
    session = Session()
    tokens = SSOTokenProvider(session)
    portal = session.create_client("sso", region_name=session.get_config_variable("region"))
    print(json.dumps({"ready": botocore.__version__}), flush=True)
    for _ in sys.stdin:
        token = tokens.load_token().get_frozen_token().token
        print(json.dumps({**outcomes.take(), "accepted": accepted(portal, token)}), flush=True)


main()
