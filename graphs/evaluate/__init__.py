"""Measure answers on questions with known answers, beside plain quoting and the plain chain."""
