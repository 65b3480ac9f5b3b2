"""python -m bench.peers: image loaders side by side, on the same images and the same work."""
