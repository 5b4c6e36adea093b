"""Random models as Python source, as people write them: one family of pieces a file, put together by `sources`."""
