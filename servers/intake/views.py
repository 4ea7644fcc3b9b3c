"""The table of intake's cases."""

from servers.case.views import case_table

INTAKE_CASES = case_table("application")
