"""Plays a server's life with Hetzner's own Python client. Arguments: base URL, token, read-only token."""

import sys

from hcloud import APIException, Client
from hcloud.images import Image
from hcloud.locations import Location
from hcloud.server_types import ServerType

base, token, read_only = sys.argv[1:]


def client(token):
    # The simulator's clock moves on with every call; nobody has to wait for it.
    return Client(token=token, api_endpoint=base + "/v1", poll_interval=0.001)


def refused(code, action):
    try:
        action()
    except APIException as error:
        assert error.code == code, f"{error.code} instead of {code}: {error.message}"
        return error
    raise AssertionError(f"accepted what should be refused with {code}")


cloud = client(token)
refused("unauthorized", client("wrong").servers.get_all)
assert client(read_only).servers.get_all() == []


def order(cloud=cloud, **changes):
    fields = {
        "name": "judge",
        "server_type": ServerType(name="cx23"),
        "image": Image(name="debian-12"),
        "location": Location(name="fsn1"),
        "labels": {"role": "judge"},
        "user_data": "#!/bin/sh\ntrue\n",
    }
    fields.update(changes)
    return cloud.servers.create(**fields)


refused("token_readonly", lambda: order(client(read_only)))
refused("not_found", lambda: order(server_type=ServerType(name="cx999")))
refused("not_found", lambda: order(image=Image(name="templeos")))
error = refused("invalid_input", lambda: order(name="no spaces"))
assert error.details["fields"][0]["name"] == "name", error.details

assert {location.name for location in cloud.locations.get_all()} >= {"fsn1", "hel1"}
assert cloud.server_types.get_by_name("cx23").memory == 4.0
assert cloud.images.get_by_name_and_architecture("debian-12", "arm").architecture == "arm"

key = cloud.ssh_keys.create(name="judge", public_key="ssh-ed25519 AAAA judge")
refused("uniqueness_error", lambda: cloud.ssh_keys.create(name="other", public_key="ssh-ed25519 AAAA other"))

created = order(ssh_keys=[key])
assert created.root_password is None and created.server.status == "initializing"
assert isinstance(created.server.id, int)
refused("uniqueness_error", order)
created.action.wait_until_finished()
server = cloud.servers.get_by_id(created.server.id)
assert server.status == "running" and server.public_net.ipv4.ip.startswith("198.51.")
assert server.public_net.ipv6.ip.endswith("/64") and server.location.name == "fsn1"
assert [s.name for s in cloud.servers.get_all(label_selector="role==judge")] == ["judge"]
assert cloud.servers.get_all(label_selector="role!=judge") == []

server.shutdown().wait_until_finished()
while cloud.servers.get_by_id(server.id).status != "off":
    pass
server.power_on().wait_until_finished()
assert cloud.servers.get_by_id(server.id).status == "running"
server.reboot().wait_until_finished()
server.update(name="renamed", labels={"role": "renamed"})
assert cloud.servers.get_by_name("renamed").labels == {"role": "renamed"}
server.power_off().wait_until_finished()
assert cloud.servers.get_by_id(server.id).status == "off"

without_key = order(name="second")
assert without_key.root_password
for n in range(60):
    order(name=f"many-{n}", labels={"many": "yes"})
assert len(cloud.servers.get_all(label_selector="many")) == 60, "three pages"
assert cloud.servers.get_list(page=2).meta.pagination.previous_page == 1

for server in cloud.servers.get_all():
    server.delete()
while cloud.servers.get_all():
    pass
refused("not_found", lambda: cloud.servers.get_by_id(created.server.id))
print("ok")
