"""`python -m servers.mesh.certificates`: what `ronghe certs issue` and `renew` run."""

import argparse
import json
import sys
from pathlib import Path

from bridge.kafka import Admin, KafkaUnavailable
from clients.identity import Identity
from servers.mesh.errors import MeshError
from servers.mesh.folder import endpoints_file
from servers.mesh.kafka import SERVICES, access
from servers.mesh.pki import BROKER, Authority, list_certificates


def main() -> int:
    """Write the certificates and print whose they are; 1 with one sentence when it cannot be done."""
    arguments = _arguments()
    folder = arguments.data / "pki"
    if not (folder / "ca.key").exists():
        sys.stderr.write(f"there is no authority in {folder}: `ronghe up` makes one\n")
        return 1
    try:
        names = arguments.parties or [issued.name for issued in list_certificates(folder)]
        parties = [Identity.parse(name) for name in names if name != BROKER]
        authority = Authority(folder)
        for party in parties:
            authority.issue(party, anew=arguments.anew)
            sys.stdout.write(f"{party}\n")
        if BROKER in names:
            # Last, and by a service's new certificate: the old one may have ended.
            authority.issue_broker(anew=arguments.anew)
            _reload(arguments.data)
            sys.stdout.write(f"{BROKER}\n")
    except (OSError, ValueError, MeshError) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


def _reload(data: Path) -> None:
    """Tell the brokers of a mesh that is up; others read it when they start. Raises MeshError."""
    endpoints = endpoints_file(data)
    if endpoints.exists():
        brokers = json.loads(endpoints.read_text())["kafka"]["address"]
        try:
            Admin(access(brokers, data / "pki", SERVICES[1])).reload_certificates()
        except KafkaUnavailable as error:
            told = f"{BROKER} has a new file, but the broker was not told: {error}; do it again, or restart the mesh"
            raise MeshError(told) from error


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="ronghe certs", description="Issue certificates of the local authority.")
    parser.add_argument("--data", type=Path, required=True, help="data directory")
    parser.add_argument("--anew", action="store_true", help="also where one is good for some time yet")
    parser.add_argument("parties", nargs="*", help="KIND/ID; everyone who has one when left out")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
