"""The statistics of a comparison whose error counts are 25 and 34 in 10,000: one file per kind of question."""
