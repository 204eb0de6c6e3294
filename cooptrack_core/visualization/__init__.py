"""Pictures of a recording: bird's-eye view, camera overlays, video, stills and the HTML player."""
