"""Measures the client: python3 bench.py [MESSAGES]

It builds Benchmark in a release build and runs it against `im-server --dev`, a process beside it on the same machine: events/s that a client
pulls and acknowledges, sends/s of a client, the memory of an idle client. The machine should do nothing else. It needs what
`cargo build --release -p im-ffi -p im-server -p uniffi-bindgen` makes: TARGET says where that is, by default in target/release.
"""

import base64
import hashlib
import hmac
import json
import os
import pathlib
import subprocess
import sys
import time

HERE = pathlib.Path(__file__).resolve().parent
# The number of messages that a user may send at once, by the budget of a back end.
SENDS = 1000
IDLE = 100


def token(user):
    """A token that a development server takes."""

    def encoded(data):
        return base64.urlsafe_b64encode(data).rstrip(b"=")

    now = int(time.time())
    claims = {"sub": user, "iss": "im-dev", "aud": "im", "iat": now, "exp": now + 3600}
    signed = b".".join(encoded(json.dumps(part).encode()) for part in ({"alg": "HS256", "kid": "dev", "typ": "JWT"}, claims))
    signature = hmac.digest(b"im-dev-secret-do-not-use-in-production", signed, hashlib.sha256)
    return (signed + b"." + encoded(signature)).decode()


def main(count):
    target = pathlib.Path(os.environ.get("TARGET", HERE / "../../target/release")).resolve()
    environment = os.environ | {"TARGET": str(target), "UNIFFI_BINDGEN": str(target / "uniffi-bindgen")}
    os.chdir(HERE)
    subprocess.run(["./generate.sh", target / ("libim_ffi.dylib" if sys.platform == "darwin" else "libim_ffi.so")], env=environment, check=True)
    flags = ["-c", "release", "--product", "Benchmark", "-Xlinker", f"-L{HERE}/lib", "-Xlinker", "-rpath", "-Xlinker", f"{HERE}/lib"]
    subprocess.run(["./with-swift.sh", "swift", "build", "--quiet", *flags], env=environment, check=True)
    senders = range(count // SENDS)
    users = ["reader0", "reader1", *(f"idle{number}" for number in range(IDLE + 1))]
    users += [f"{prefix}sender{number}" for prefix in ("", "reader0-", "reader1-") for number in senders]
    server = subprocess.Popen(
        [target / "im-server", "--dev", "--websocket-port", "0", "--quic-port", "0"],
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
    )
    try:
        endpoint = next((line.split()[1] for line in server.stdout if line.startswith("endpoint ws:")), None)
        if endpoint is None:
            return f"bindings/swift: {target}/im-server has not started: run it with --dev to see why"
        program = ["./with-swift.sh", ".build/release/Benchmark", endpoint, str(SENDS * len(senders)), str(IDLE)]
        lines = "".join(f"{user} {token(user)}\n" for user in users)
        return subprocess.run(program, env=environment, input=lines, text=True).returncode
    finally:
        server.kill()
        server.wait()


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]) if len(sys.argv) > 1 else 10_000))
