"""Stands in for the package of princeton-nlp/WebShop, which cannot be installed from an index."""
