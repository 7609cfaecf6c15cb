// TypeScript beside `only_caches.py`: it reads what is cached there, and drops what it has changed in the database.
//   greenroom definitions only_caches:room --typescript > shop.ts
//   npx tsc --strict --target es2022 --module nodenext other_languages.ts shop.ts
//   node other_languages.js redis://127.0.0.1:6379
import { Redis } from "ioredis";
import { product, productsGroup, type ProductValue } from "./shop.js";

const redis = new Redis(process.argv[2] ?? "redis://127.0.0.1:6379");

async function read(region: string, sku: number): Promise<ProductValue | null> {
  const text = await redis.get(product.key({ region, sku })); // plain JSON, under the key that Python makes
  return text === null ? null : (JSON.parse(text) as ProductValue); // null: ask the database, and store nothing
}

const found = await read("eu", 1);
console.log(found?.name ?? "not cached");
// …the database is changed and committed here; then:
await product.invalidate(redis, { region: "eu", sku: 1 }); // the value, with its lease and absence
await productsGroup.invalidate(redis, { region: "eu" }); // every page of the region
console.log((await read("eu", 1)) === null ? "dropped" : "cached");
redis.disconnect();
