"""lpr.testing"""
