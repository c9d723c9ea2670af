"""The web page: templates, style, scripts, and what renders them."""
