"""What other tools made of a sealed model, sealed again.

A file comes in with its original, is verified against the original's truth, and goes out under the original's contract.
"""
