// Serves itself over TCP and works on files, in the folder that is named; prints how many requests the kernel has
// taken from this process's rings, by its count.
const fs = require('fs');
const net = require('net');
const path = require('path');

function requests() {
  let sum = 0;
  for (const fd of fs.readdirSync('/proc/self/fdinfo')) {
    let info = '';
    try { info = fs.readFileSync('/proc/self/fdinfo/' + fd, 'utf8'); } catch { continue; }
    sum += Number(/^CachedSqHead:\s*(\d+)/m.exec(info)?.[1] ?? 0);
  }
  return sum;
}

async function files(folder) {
  const file = path.join(folder, 'file');
  await fs.promises.writeFile(file, 'hello');
  await fs.promises.rename(file, file + '2');
  const text = await fs.promises.readFile(file + '2', 'utf8');
  await fs.promises.unlink(file + '2');
  return text;
}

// What a client hears, which says so much.
function exchange(port, text) {
  return new Promise((resolve, reject) => {
    let heard = '';
    const socket = net.connect(port, '127.0.0.1', () => socket.end(text));
    socket.setEncoding('utf8').on('data', (data) => { heard += data; });
    socket.on('end', () => resolve(heard)).on('error', reject);
  });
}

const server = net.createServer({ allowHalfOpen: true }, (socket) => socket.pipe(socket));
server.listen(0, '127.0.0.1', async () => {
  const text = await files(process.argv[2]);
  const { port } = server.address();
  const heard = await Promise.all(Array.from({ length: 20 }, () => exchange(port, text)));
  if (heard.some((answer) => answer !== 'hello')) throw new Error(`heard ${heard}`);
  console.log(requests());
  server.close();
});
