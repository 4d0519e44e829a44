"""What a team does with PagerDuty's own client, against AllClear over TLS."""

import ssl
import sys

import pagerduty

base, authority, token = sys.argv[1:4]

trust = ssl.create_default_context(cafile=authority)
client = pagerduty.RestApiV2Client(token, default_from="ada@synq.example", base_url=base + "/pagerduty", verify=trust)

policies = client.list_all("escalation_policies")
assert policies[0]["name"] == "On call", policies
service = client.rpost("services", json={
    "type": "service", "name": "From the SDK",
    "escalation_policy": {"id": policies[0]["id"], "type": "escalation_policy_reference"},
})
assert client.find("services", "From the SDK")["id"] == service["id"]
renamed = client.rput(service, json={**service, "description": "made by a script"})
assert renamed["description"] == "made by a script", renamed
integration = client.rpost(f"services/{service['id']}/integrations", json={
    "type": "events_api_v2_inbound_integration", "name": "Script",
})

events = pagerduty.EventsApiV2Client(integration["integration_key"], base_url=base, verify=trust)
key = events.trigger("The disk is full", "db1.example", severity="critical", custom_details={"free": 0})
incident = client.list_all("incidents", params={"service_ids[]": [service["id"]]})[0]
assert incident["title"] == "The disk is full" and incident["status"] == "triggered", incident
events.acknowledge(key)
assert client.rget(f"incidents/{incident['id']}")["status"] == "acknowledged"
note = client.rpost(f"incidents/{incident['id']}/notes", json={"content": "looking"})
assert note["user"]["summary"] == "Ada", note
resolved = client.rput(f"incidents/{incident['id']}", json={"type": "incident_reference", "status": "resolved"})
assert resolved["status"] == "resolved", resolved
events.resolve(key)
kinds = [entry["type"] for entry in client.iter_all(f"incidents/{incident['id']}/log_entries")]
assert "trigger_log_entry" in kinds and "acknowledge_log_entry" in kinds, kinds
oncall = list(client.iter_all("oncalls"))
assert oncall and oncall[0]["user"]["summary"] == "Ada", oncall
window = client.rpost("maintenance_windows", json={
    "type": "maintenance_window", "start_time": "2046-01-01T00:00:00Z", "end_time": "2046-01-01T01:00:00Z",
    "description": "Upgrade", "services": [{"id": service["id"], "type": "service_reference"}],
})
client.rdelete(f"maintenance_windows/{window['id']}")
client.rdelete(f"services/{service['id']}")
try:
    client.rget(f"services/{service['id']}")
except pagerduty.HttpError as error:
    assert error.response.status_code == 404, error
else:
    raise AssertionError("it is still there")
print("everything was done")
