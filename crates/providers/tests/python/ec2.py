"""EC2 as moto plays it, behind a check of every request's signature by botocore.

Prints its port and runs until its standard input ends, which is when the test that started it does.
"""

import io
import json
import os
import re
import sys
import tempfile
import threading

# moto knows images of long ago; these are what the publishers of Debian and Ubuntu have, by name and owner.
IMAGES = [
    ("ami-deb12x860", "136693071363", "debian-12-amd64-20260101-1", "x86_64"),
    ("ami-deb12x861", "136693071363", "debian-12-amd64-20260201-1", "x86_64"),
    ("ami-deb12arm1", "136693071363", "debian-12-arm64-20260201-1", "arm64"),
    ("ami-noblex861", "099720109477", "ubuntu/images/hvm-ssd-gp3/ubuntu-noble-24.04-amd64-server-20260201", "x86_64"),
]
with tempfile.NamedTemporaryFile("w", suffix=".json", delete=False) as file:
    json.dump(
        [
            {
                "ami_id": ami, "name": name, "description": name, "owner_id": owner, "public": True, "state": "available",
                "virtualization_type": "hvm", "architecture": architecture, "platform": None, "image_type": "machine",
                "image_location": "amazon/" + name, "hypervisor": "xen", "root_device_name": "/dev/xvda",
                "root_device_type": "ebs", "sriov": "simple",
            }
            for ami, owner, name, architecture in IMAGES
        ],
        file,
    )
os.environ["MOTO_AMIS_PATH"] = file.name

from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from moto.ec2.models import ec2_backends
from moto.server import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import WSGIRequestHandler, make_server

ACCESS_KEY_ID = "AKIDSIMULATED0000000"
SECRET = "simulated/secret+key"
REFUSED = (
    "<Response><Errors><Error><Code>{}</Code><Message>{}</Message></Error></Errors>"
    "<RequestID>simulated</RequestID></Response>"
)


def problem(environ, body):
    given = environ.get("HTTP_AUTHORIZATION", "")
    parts = re.match(
        r"AWS4-HMAC-SHA256 Credential=([^/]+)/(\d{8})/([^/]+)/([^/]+)/aws4_request, "
        r"SignedHeaders=([^,]+), Signature=([0-9a-f]{64})$",
        given,
    )
    if not parts:
        return "MissingAuthenticationToken", "no signature"
    key, _, region, service, names, signature = parts.groups()
    if key != ACCESS_KEY_ID:
        return "AuthFailure", "AWS was not able to validate the provided access credentials"
    headers = {}
    for name in names.split(";"):
        variable = name.upper().replace("-", "_")
        headers[name] = environ.get(variable if name == "content-type" else "HTTP_" + variable, "")
    url = "http://" + environ["HTTP_HOST"] + environ["PATH_INFO"]
    request = AWSRequest(method=environ["REQUEST_METHOD"], url=url, data=body, headers=headers)
    request.context["timestamp"] = headers["x-amz-date"]
    auth = SigV4Auth(Credentials(ACCESS_KEY_ID, SECRET), service, region)
    wanted = auth.signature(auth.string_to_sign(request, auth.canonical_request(request)), request)
    if wanted != signature:
        return "SignatureDoesNotMatch", "the request signature we calculated does not match"
    return None


class Checked:
    def __init__(self, inner):
        self.inner = inner

    def __call__(self, environ, start_response):
        if environ["PATH_INFO"].startswith("/disks/"):
            region = environ["PATH_INFO"].removeprefix("/disks/")
            start_response("200 OK", [("Content-Type", "text/plain")])
            return [str(len(ec2_backends["123456789012"][region].volumes)).encode()]
        body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        environ["wsgi.input"] = io.BytesIO(body)
        wrong = problem(environ, body)
        if wrong:
            start_response("403 Forbidden", [("Content-Type", "text/xml")])
            return [REFUSED.format(*wrong).encode()]
        return self.inner(environ, start_response)


class Quiet(WSGIRequestHandler):
    def log_request(self, *_):
        pass


server = make_server("127.0.0.1", 0, Checked(DomainDispatcherApplication(create_backend_app)), threaded=True, request_handler=Quiet)
threading.Thread(target=server.serve_forever, daemon=True).start()
print(server.server_port, flush=True)
sys.stdin.read()
os.unlink(file.name)
