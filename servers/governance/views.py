"""The table of governance's cases."""

from servers.case.views import case_table

GOVERNANCE_CASES = case_table("case")
