"""Reports: what finished runs say, with intervals and tests, as tables, figures and one HTML page."""
