"""The thin command line over `taaxdog_datamig`: it reads words, calls the library and shows answers."""
