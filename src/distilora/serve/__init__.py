"""The API and the web page over bundles; needs the extra ``serve``, and no torch."""
