"""File formats that several rooms read or write, as text in and values out: no file is opened here."""
