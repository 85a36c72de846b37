"""Plays a server's life with UpCloud's own Python client. Arguments: base URL, token, user, password."""

import sys
import time

import upcloud_api.server
import upcloud_api.utils
from upcloud_api import CloudManager, Server, Storage
from upcloud_api.api import API
from upcloud_api.errors import UpCloudAPIError
from upcloud_api.label import Label
from upcloud_api.server import login_user_block

base, token, username, password = sys.argv[1:]
API.api_root = base + "/1.3"
# The simulator's clock moves on with every call; nobody has to wait for it.
upcloud_api.server.sleep = upcloud_api.utils.sleep = lambda _: time.sleep(0.001)

DEBIAN = "01000000-0000-4000-8000-000020070100"


def refused(code, action):
    try:
        action()
    except UpCloudAPIError as error:
        assert error.error_code == code, f"{error.error_code} instead of {code}: {error.error_message}"
        return
    raise AssertionError(f"accepted what should be refused with {code}")


refused("AUTHENTICATION_FAILED", lambda: CloudManager(token="wrong").get_account())
assert CloudManager(username, password).get_account()["account"]["username"]
manager = CloudManager(token=token)

zones = manager.get_zones()["zones"]["zone"]
assert any(zone["id"] == "de-fra1" and zone["public"] == "yes" for zone in zones)
plans = {plan["name"]: plan for plan in manager.get_server_plans()["plans"]["plan"]}
assert plans["2xCPU-4GB"]["memory_amount"] == 4096 and plans["2xCPU-4GB"]["storage_size"] == 80
sizes = manager.get_server_sizes()["server_sizes"]["server_size"]
assert isinstance(sizes[0]["core_number"], str)
assert any(zone["name"] == "de-fra1" and "server_plan_2xCPU-4GB" in zone for zone in manager.get_prices()["prices"]["zone"])
assert any(DEBIAN in template.values() for template in manager.get_templates())


def order(**changes):
    fields = {
        "plan": "2xCPU-4GB",
        "hostname": "judge.example.com",
        "zone": "de-fra1",
        "labels": [Label("role", "judge")],
        "storage_devices": [Storage(os=DEBIAN, size=80), Storage(size=20)],
        "login_user": login_user_block("root", ["ssh-ed25519 AAAA judge"]),
        "user_data": "#!/bin/sh\ntrue\n",
    }
    fields.update(changes)
    return Server(**fields)


refused("ZONE_NOT_FOUND", lambda: manager.create_server(order(zone="mars-1")))
refused("PLAN_INVALID", lambda: manager.create_server(order(plan="9xCPU")))
refused("HOSTNAME_INVALID", lambda: manager.create_server(order(hostname="no spaces")))
refused("STORAGE_NOT_FOUND", lambda: manager.create_server(order(storage_devices=[Storage(os=DEBIAN[:-1] + "9", size=20)])))

server = manager.create_server(order())
assert server.state == "maintenance", server.state
assert len(server.storage_devices) == 2
server._wait_for_state_change(["started"])
assert server.get_public_ip("IPv4").startswith("203.0."), server.get_public_ip()
assert server.get_utility_ip().startswith("10.")
assert not hasattr(manager.get_servers()[0], "ip_addresses"), "lists carry no addresses"
assert manager.get_servers(populate=True)[0].labels["label"][0] == {"key": "role", "value": "judge"}

refused("SERVER_STATE_ILLEGAL", lambda: manager.delete_server(server.uuid, delete_storages=True))
refused("SERVER_STATE_ILLEGAL", server.start)
server.shutdown()
assert manager.get_server(server.uuid).state == "started", "stop answers before anything stopped"
server._wait_for_state_change(["stopped"])
server.start()
assert server.populate().state == "started"
server.title = "renamed"
server.save()
assert manager.get_server(server.uuid).title == "renamed"

kept = manager.create_server(order(hostname="kept.example.com"))
kept._wait_for_state_change(["started"])
kept.shutdown(hard=True)
kept._wait_for_state_change(["stopped"])
manager.delete_server(kept.uuid)
left = [storage for storage in manager.get_storages("normal") if storage.title.startswith("kept")]
assert len(left) == 2, "without storages=1 the disks stay"
for storage in left:
    storage.destroy()

server.stop_and_destroy()
assert manager.get_servers() == []
assert manager.get_storages("normal") == []
refused("SERVER_NOT_FOUND", lambda: manager.get_server(server.uuid))
refused("SERVER_INVALID", lambda: manager.get_server("nonsense"))

gone = manager.create_server(order(hostname="gone.example.com"))
gone._wait_for_state_change(["started"])
gone.shutdown(hard=True)
gone._wait_for_state_change(["stopped"])
gone.destroy(delete_storages=True)
assert manager.get_storages("normal") == [], "storages=1 takes the disks along"
print("ok")
