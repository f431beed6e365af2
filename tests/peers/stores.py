#!/usr/bin/env python3
"""Puts datasets into a local S3 server (moto), with failures on the way, and compares what `prepare` makes of them with what it makes
of the same files on disk. The server verifies signatures and permissions.

    python3 tests/peers/stores.py target/release/pixtune

Prints what differs and exits with 1 if anything does.
"""

import http.client
import http.server
import json
import logging
import os
import pathlib
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request

import boto3
from moto.server import ThreadedMotoServer

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


def environment(endpoint, keys, home):
    kept = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    return {
        **kept,
        "AWS_ACCESS_KEY_ID": keys[0],
        "AWS_SECRET_ACCESS_KEY": keys[1],
        "AWS_ENDPOINT_URL": endpoint,
        "AWS_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",
        "HOME": str(home),
    }


def prepared(pixtune, path, out, env=None):
    """The training file of an input, or why there is none."""
    run = subprocess.run(
        [pixtune, "prepare", path, "--out", out, "--validation", "0", "--force", "--quiet"],
        capture_output=True, text=True, env=env)
    if run.returncode != 0:
        return f"exit code {run.returncode}: {run.stderr}"
    return (out / "train.jsonl").read_bytes()


def reader(endpoint):
    """The keys of a user who may read one bucket of two."""
    options = {"endpoint_url": endpoint, "region_name": "us-east-1"}
    iam = boto3.client("iam", aws_access_key_id="root", aws_secret_access_key="root", **options)
    iam.create_user(UserName="reader")
    policy = {"Version": "2012-10-17", "Statement": [
        {"Effect": "Allow", "Action": ["s3:GetObject", "s3:ListBucket"],
         "Resource": ["arn:aws:s3:::data", "arn:aws:s3:::data/*"]}]}
    iam.put_user_policy(UserName="reader", PolicyName="read", PolicyDocument=json.dumps(policy))
    key = iam.create_access_key(UserName="reader")["AccessKey"]
    return key["AccessKeyId"], key["SecretAccessKey"]


def main():
    pixtune = pathlib.Path(sys.argv[1]).resolve()
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    direct = f"http://{host}:{port}"
    s3 = boto3.client("s3", endpoint_url=direct, region_name="us-east-1",
                      aws_access_key_id="root", aws_secret_access_key="root")
    for bucket in ("data", "closed"):
        s3.create_bucket(Bucket=bucket)
    names = sorted(path.name for path in FORMATS.iterdir() if path.name.endswith(SUFFIXES))
    for path in [FORMATS / name for name in names] + sorted((FORMATS / "images").iterdir()):
        s3.upload_file(str(path), "data", f"set/{path.relative_to(FORMATS)}")
    s3.put_object(Bucket="closed", Key="x.jsonl", Body=b"{}\n")
    keys = reader(direct)
    # From here on, signatures and permissions are verified.
    headers = {"content-type": "text/plain"}
    urllib.request.urlopen(urllib.request.Request(f"{direct}/moto-api/reset-auth", b"0", headers, method="POST"))

    Proxy.target = (host, port)
    proxy = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Proxy)
    threading.Thread(target=proxy.serve_forever, daemon=True).start()
    endpoint = f"http://127.0.0.1:{proxy.server_port}"

    different = []
    with tempfile.TemporaryDirectory() as directory:
        home = pathlib.Path(directory)
        env = environment(endpoint, keys, home)
        expected = {name: prepared(pixtune, FORMATS / name, home / "local") for name in names}
        # With failures, one file of each format.
        formats = {name.split(".", 1)[1]: name for name in names}
        for failure in (None, "error", "reset", "slow"):
            Proxy.failure = failure
            for name in formats.values() if failure else names:
                found = prepared(pixtune, f"s3://data/set/{name}", home / "remote", env)
                if found != expected[name]:
                    different.append(f"{name}, failure {failure}: {found[:600]!r}")
        Proxy.failure = None
        refusals = {
            "s3://data/set/none.csv": (keys, "there is no such object"),
            "s3://none/x.csv": (keys, ("access is denied", "there is no such bucket")),
            "s3://closed/x.jsonl": (keys, "access is denied (AccessDenied"),
            "s3://data/set/flat.csv": ((keys[0], "wrong"), "the credentials are not accepted (SignatureDoesNotMatch"),
            "s3://data/set/flat.jsonl": (("AKIAUNKNOWN", "x"), "the credentials are not accepted (InvalidAccessKeyId"),
        }
        for url, (used, reasons) in refusals.items():
            found = prepared(pixtune, url, home / "refused", environment(endpoint, used, home))
            reasons = (reasons,) if isinstance(reasons, str) else reasons
            if not (isinstance(found, str) and any(reason in found for reason in reasons)):
                different.append(f"{url}: expected {reasons}, found {found[:600]!r}")
    server.stop()
    for line in different:
        print(line)
    print(f"{len(names)} files from S3, {len(formats)} of them with 3 kinds of failures, and {len(refusals)} refusals: "
          f"{len(different)} different")
    sys.exit(1 if different else 0)


if __name__ == "__main__":
    main()
