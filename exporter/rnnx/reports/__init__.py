"""What was verified or timed, written down: JSON, JUnit XML, HTML, and compared with an earlier one.

Reports are values: nothing here runs a model.
"""
