"""The record on MongoDB: a replica set or mongos, with the async client of PyMongo (extra `mongodb`)."""
