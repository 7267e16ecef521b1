"""One call of Debian's python3-ganeti-rapi as it is.

Usage: rapi_call.py PORT USER PASSWORD METHOD ARGUMENTS, the last being a JSON list. Prints JSON: {"answer": …}, or
{"code": …, "text": …} when the call raised what the client raises for an answer that is no success.
"""

import json
import sys

from ganeti.rapi import client as rapi


def main():
    port, user, password, method, arguments = sys.argv[1:]
    client = rapi.GanetiRapiClient("127.0.0.1", int(port), username=user, password=password)
    try:
        result = {"answer": getattr(client, method)(*json.loads(arguments))}
    except rapi.GanetiApiError as error:
        result = {"code": error.code, "text": str(error)}
    print(json.dumps(result))


main()
