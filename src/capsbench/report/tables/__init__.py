"""Tables of a report, and the one model that renders them as Markdown, CSV, LaTeX and HTML."""
