"""The API's and the page's addresses, one module for each thing that is asked for."""
