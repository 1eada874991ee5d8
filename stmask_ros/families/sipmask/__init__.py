"""SipMask-VIS (ECCV 2020): one stage on FCOS, a mask in four sub-regions, an embedding a cell."""
