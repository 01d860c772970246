"""A second program for crmguard's formats, by the chapters of formats.md."""
