"""The sections of a report, one module each: numbers of a comparison into plain blocks."""
