"""`python -m servers.mesh.certificates`: what `ronghe certs issue` and `renew` run."""

import argparse
import sys
from pathlib import Path

from clients.identity import Identity
from servers.mesh.pki import Authority, list_certificates


def main() -> int:
    """Write the certificates and print whose they are; 1 with one sentence when it cannot be done."""
    arguments = _arguments()
    folder = arguments.data / "pki"
    if not (folder / "ca.key").exists():
        sys.stderr.write(f"there is no authority in {folder}: `ronghe up` makes one\n")
        return 1
    try:
        parties = [Identity.parse(name) for name in arguments.parties] or _everyone(folder)
        for party in parties:
            Authority(folder).issue(party, anew=arguments.anew)
            sys.stdout.write(f"{party}\n")
    except (OSError, ValueError) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


def _everyone(folder: Path) -> list[Identity]:
    """Whoever has a certificate; the broker's is renewed when it starts."""
    return [
        Identity.parse(issued.name) for issued in list_certificates(folder) if not issued.name.startswith("broker/")
    ]


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="ronghe certs", description="Issue certificates of the local authority.")
    parser.add_argument("--data", type=Path, required=True, help="data directory")
    parser.add_argument("--anew", action="store_true", help="also where one is good for some time yet")
    parser.add_argument("parties", nargs="*", help="KIND/ID; everyone who has one when left out")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
