"""Long versions of what the suite tests briefly: python -m tests.soak kills|conversions|fuzz|loader."""
