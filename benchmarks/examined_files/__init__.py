"""Files for `doctor_score.py`: right ones from several exporters, and right ones with one thing broken."""
