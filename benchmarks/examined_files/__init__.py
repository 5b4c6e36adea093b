"""Files for `doctor_score.py`: right ones from several exporters, and what becomes of right ones when one thing breaks."""
