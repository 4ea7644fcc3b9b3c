"""The table of department's cases."""

from servers.case.views import case_table

DEPARTMENT_CASES = case_table("organ_case")
