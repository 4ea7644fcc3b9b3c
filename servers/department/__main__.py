"""`python -m servers.department`: what the supervisor runs."""

from servers.process import start

if __name__ == "__main__":
    start("department")
