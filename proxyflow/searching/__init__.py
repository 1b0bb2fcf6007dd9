"""Decides what a search trains next, and when it may stop: pure ask-and-tell, without training, server or clock."""
