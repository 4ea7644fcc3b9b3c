"""The SDK of ronghe, and its lowest layer: everything else may import it, it imports only the contract's stubs."""
