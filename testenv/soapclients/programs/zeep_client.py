"""A SOAP client by zeep. See soapclients.go for what goes in and out."""
import json
import os
import sys

import requests
import zeep
from zeep.transports import Transport

url, user, version = sys.argv[1:4]
session = requests.Session()
session.auth = (user, os.environ["SOAP_SECRET"])
client = zeep.Client(url + "?wsdl", transport=Transport(session=session))
port = "OSPlatformAuthenticationSoap" + ("12" if version == "1.2" else "")
service = client.bind("OSPlatformAuthentication", port)


def arguments(method, args):
    if method == "Plugin_SetConfigurations":
        return {"Configuration": {"PluginAPIConfigurationParameter": [{"Name": args[0], "Value": args[1]}]}}
    return dict(zip(("Username", "Password"), args))


def flat(result):
    r = zeep.helpers.serialize_object(result, dict)
    if r is None:
        return {}
    if "Success" in r:  # zeep unwraps an answer of one part
        r = {"Status": r}
    s = r.get("Status") or {}
    pairs = (r.get("SupportedCapabilities") or {}).get("Capability") or []
    pairs += (r.get("Configuration") or {}).get("PluginAPIConfigurationParameter") or []
    return {"success": s.get("Success"), "responseId": s.get("ResponseId"), "message": s.get("ResponseMessage") or "",
            "info": s.get("ResponseAdditionalInfo") or "", "userId": r.get("UserId") or 0,
            "pairs": [[p["Name"] or "", p["Value"] or ""] for p in pairs]}


for line in sys.stdin:
    method, *args = line.rstrip("\n").split("\t")
    try:
        answer = flat(getattr(service, method)(**arguments(method, args)))
    except zeep.exceptions.Fault as f:
        answer = {"fault": f.message}
    print(json.dumps(answer), flush=True)
