"""The query code (查询密码) on a voucher: with the case number it opens the case to whoever holds the paper."""

import hashlib
import hmac
from dataclasses import dataclass, field

ALPHABET = "23456789ABCDEFGHJKMNPQRSTVWXYZ"
"""Nothing that is misread for another: no 0 O, 1 I L, U."""

LENGTH = 10
"""49 bits; five wrong codes lock a number."""


@dataclass(frozen=True, slots=True)
class QueryCodes:
    """Derives the code of a case from a key of the deployment, so that no code is stored anywhere."""

    key: bytes = field(repr=False)

    def code(self, case_id: str) -> str:
        """The code, from HMAC-SHA256 (RFC 2104) of the case id."""
        rest = int.from_bytes(hmac.digest(self.key, case_id.encode(), hashlib.sha256))
        letters = []
        for _ in range(LENGTH):
            rest, index = divmod(rest, len(ALPHABET))
            letters.append(ALPHABET[index])
        return "".join(letters)

    def matches(self, case_id: str, code: str) -> bool:
        """Whether it is the case's code, in upper or lower case; takes the same time wherever it differs."""
        return hmac.compare_digest(self.code(case_id).encode(), code.upper().encode())
