#!/bin/sh
# Written by Reeve.
[ ! -r /etc/profile ] || . /etc/profile
exec {{ {"xfce": "startxfce4", "mate": "mate-session", "lxqt": "startlxqt"}[params.environment] }}
