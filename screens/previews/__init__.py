"""Examples as people look at them: pictures, waveforms, histograms, text, drawn in character cells.

Plain functions from values to lines, which run in background threads and know nothing of Textual;
``lines_view`` alone is a widget and shows them.
"""
