"""A verification written down: JSON, JUnit XML, HTML, and compared with an earlier one."""
