"""Synthetic talking scenes for seehear: pictures, sound and the exact truth about both.

The modules in the order a scene meets them: `speech` (text to sound and phonemes), `mouth` (phonemes to lips), `motion`
(everything else that moves), `looks`, `portraits` and `faces` (who is drawn, and how), `backgrounds`, `acoustics`
(the room and what else sounds), `scenes` (who talks when; frames, audio, truth), `media` (to a file).
"""
