"""Keyword spotting in minutes of sound: digits at random places in noise, found by a program that runs step by step."""
