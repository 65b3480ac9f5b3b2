"""Many short training runs that differ in a few settings, each with several seeds: what does a setting gain?"""
