"""From a dataset folder to normalised batches on the device."""
