/** What a keyboard's media keys, a headset and the lock screen of a telephone show and do. */

const session = 'mediaSession' in navigator ? navigator.mediaSession : null;

/** @param state none, paused or playing */
export function showOnKeys(state) {
  if (session) session.playbackState = state;
}

/** Let them name what the player plays, and steer it. */
export function describeToKeys(player) {
  if (!session) return;
  session.metadata = new MediaMetadata({ title: player.podcast.title, artist: 'Greenroom' });
  const actions = {
    play: () => { if (!player.on) player.toggle(); },
    pause: () => { if (player.on) player.toggle(); },
    seekbackward: ({ seekOffset }) => player.skip(-(seekOffset || 10)),
    seekforward: ({ seekOffset }) => player.skip(seekOffset || 30),
    seekto: ({ seekTime }) => player.seek(seekTime),
  };
  for (const [name, action] of Object.entries(actions)) {
    try {
      session.setActionHandler(name, action);
    } catch {
      // A browser that does not know this key.
    }
  }
}
