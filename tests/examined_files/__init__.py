"""Files for the doctor and for `benchmarks/doctor_score.py`: right ones by several makers, and broken ones."""
