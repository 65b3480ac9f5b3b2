"""Long versions of some tests: python -m tests.soak kills|conversions|fuzz|loader."""
